//! What a config would serve, as `pointsman check` prints it: listeners, routes, pools with their
//! endpoints, and whatever is not as by default.

use std::fmt::Write;

use balance::{
    AgentKind, AgentSettings, Check, CheckKind, CircuitSettings, EndpointSettings, HashKey,
    PolicySettings, PoolSettings, SlowStartSettings, StickyBy, StickySettings,
};
use config::{
    Certificates, Listener, ListenerProtocol, Pool, ProxyVersion, Route, Snapshot, TlsPolicy,
    UpstreamProtocol,
};

/// A line for each thing that would be served. Endpoints are indented, and so is what is set for
/// their pool.
pub(crate) fn summary(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for listener in &snapshot.listeners {
        let addresses: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
        line(
            &mut text,
            format_args!(
                "listener {} on {}{}",
                listener.name,
                addresses.join(", "),
                joined(listener_facts(listener))
            ),
        );
    }
    for route in &snapshot.routes {
        let pool = &snapshot.pools[route.pool].settings.name;
        let facts = joined(route_facts(route));
        line(
            &mut text,
            format_args!("route {} to pool {pool}{facts}", route.name),
        );
    }
    for pool in &snapshot.pools {
        let Pool {
            settings,
            endpoints,
            ..
        } = pool;
        let policy = policy_text(&settings.policy);
        let check = check_text(&settings.check);
        line(
            &mut text,
            format_args!("pool {}, {policy}, {check}", settings.name),
        );
        let mut facts = upstream_facts(pool);
        facts.extend(pool_facts(settings));
        if !facts.is_empty() {
            line(&mut text, format_args!("  {}", facts.join(", ")));
        }
        for endpoint in endpoints {
            let facts = joined(endpoint_facts(endpoint));
            line(
                &mut text,
                format_args!("  endpoint {}{facts}", named_address(endpoint)),
            );
        }
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// Facts behind something else.
fn joined(facts: Vec<String>) -> String {
    facts.into_iter().map(|fact| format!(", {fact}")).collect()
}

fn listener_facts(listener: &Listener) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    match &listener.protocol {
        ListenerProtocol::Http => {}
        ListenerProtocol::Tcp => facts.push("TCP".into()),
        ListenerProtocol::Detect { patience } => {
            facts.push(format!("what is spoken is detected within {patience:?}"));
        }
        ListenerProtocol::Udp(udp) => {
            facts.push("UDP".into());
            facts.extend(
                udp.replies
                    .map(|replies| format!("a flow ends with reply {replies}")),
            );
            facts.push(format!("at most {} flows", udp.flows_max));
        }
    }
    let has_requests = listener.protocol.has_requests();
    match (&listener.tls, listener.http2) {
        (None, false) => {}
        (None, true) => facts.push("HTTP/2 without TLS".into()),
        (Some(_), false) if has_requests => facts.push("TLS, HTTP/1.1 alone".into()),
        (Some(_), _) => facts.push("TLS".into()),
    }
    if let Some(tls) = &listener.tls {
        if let Certificates::SelfSigned = tls.certificates {
            facts.push("a certificate that is made up".into());
        }
        if tls.policy == TlsPolicy::Modern {
            facts.push("version 1.3 alone".into());
        }
        facts.extend(tls.client.as_ref().map(|client| {
            let demand = if client.required { "" } else { "optional " };
            format!("{demand}certificates of clients")
        }));
    }
    if let Some(header) = &listener.proxy_protocol {
        let demand = if header.required { "" } else { "optional " };
        facts.push(format!("{demand}PROXY headers from {}", list(&header.from)));
    }
    if !listener.trusted_proxies.is_empty() {
        facts.push(format!("believes {}", list(&listener.trusted_proxies)));
    }
    facts.extend((listener.redirect_to_https).map(|port| format!("redirects to HTTPS at {port}")));
    facts
}

fn list(items: &[impl ToString]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(" and ")
}

/// How endpoints are spoken to, if not in plain HTTP/1.1.
fn upstream_facts(pool: &Pool) -> Vec<String> {
    let tls = pool.tls.as_ref().map(|tls| match tls.is_unverified {
        true => "TLS, unverified".to_owned(),
        false => "TLS".to_owned(),
    });
    let protocol = match pool.protocol {
        UpstreamProtocol::H1 => None,
        UpstreamProtocol::H2 => Some("HTTP/2".to_owned()),
        UpstreamProtocol::Auto => Some("HTTP/2 or HTTP/1.1".to_owned()),
    };
    let header = pool.proxy_protocol.map(|version| match version {
        ProxyVersion::V1 => "PROXY headers of version 1".to_owned(),
        ProxyVersion::V2 => "PROXY headers of version 2".to_owned(),
    });
    tls.into_iter().chain(protocol).chain(header).collect()
}

fn route_facts(route: &Route) -> Vec<String> {
    let retry = (route.retry.attempts == 0).then(|| "never retried".to_owned());
    let hedge = route.hedge.map(|hedge| {
        // As it was written: a tenth of a percent is the finest.
        let percent = (hedge.quantile * 1000.0).round() / 10.0;
        format!("hedged after p{percent} up to {}%", hedge.budget_percent)
    });
    retry.into_iter().chain(hedge).collect()
}

fn policy_text(policy: &PolicySettings) -> String {
    let mut text = policy.name.to_owned();
    let is_hash = balance::POLICIES
        .iter()
        .any(|kind| kind.name == policy.name && kind.has_key);
    if is_hash {
        let _ = write!(text, " by {}", key_text(&policy.key));
    }
    if let Some(bound) = policy.bounded_load {
        let _ = write!(text, " up to {bound} × a fair share");
    }
    if let Some(probe) = &policy.load_probe {
        let _ = write!(text, " with probes of {}", probe.path);
    }
    text
}

fn key_text(key: &HashKey) -> String {
    match key {
        HashKey::ClientIp => "client address".into(),
        HashKey::ClientAddress => "client address and port".into(),
        HashKey::Path => "path".into(),
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie(name) => format!("cookie {name}"),
        HashKey::Query(name) => format!("query parameter {name}"),
    }
}

fn check_text(check: &Check) -> String {
    let what = match &check.kind {
        CheckKind::Off => return "not checked".to_owned(),
        CheckKind::Tcp => "TCP connect".to_owned(),
        CheckKind::TcpExpect { .. } => "TCP answer".to_owned(),
        CheckKind::Http { path, .. } => format!("GET {path}"),
        CheckKind::Grpc { service, .. } if service.is_empty() => "gRPC health".to_owned(),
        CheckKind::Grpc { service, .. } => format!("gRPC health of {service}"),
        CheckKind::Udp { expect: None, .. } => "UDP datagram".to_owned(),
        CheckKind::Udp { .. } => "UDP answer".to_owned(),
        CheckKind::Redis => "Redis PING".to_owned(),
        CheckKind::Postgres => "PostgreSQL login".to_owned(),
        CheckKind::Mysql => "MySQL login".to_owned(),
        CheckKind::Smtp => "SMTP greeting".to_owned(),
        CheckKind::Dns { name: None } => "DNS query".to_owned(),
        CheckKind::Dns { name: Some(name) } => format!("DNS query for {name}"),
    };
    let port = port_text(check.port);
    format!("checked every {:?} by {what}{port}", check.interval)
}

fn port_text(port: Option<u16>) -> String {
    port.map(|port| format!(" on port {port}"))
        .unwrap_or_default()
}

/// What is not as by default.
fn pool_facts(settings: &PoolSettings) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(settings.zone.as_ref().map(|zone| format!("zone {zone}")));
    facts.extend(settings.sticky.as_ref().map(sticky_text));
    facts.extend(settings.agent.as_ref().map(agent_text));
    if settings.outlier.consecutive.is_none() && settings.outlier.success_rate.is_none() {
        facts.push("no passive checks".into());
    }
    match &settings.slow_start {
        None => facts.push("no slow start".into()),
        Some(ramp) if *ramp == SlowStartSettings::default() => {}
        Some(ramp) => facts.push(format!("slow start of {:?}", ramp.window)),
    }
    if !settings.feedback.headers {
        facts.push("load reports ignored".into());
    }
    facts.extend(settings.concurrency.map(|limits| {
        let (min, max) = (limits.min, limits.max);
        format!("adaptive limits of {min} to {max} requests an endpoint")
    }));
    let CircuitSettings {
        connections,
        requests,
    } = settings.circuit;
    facts.extend(connections.map(|max| format!("at most {max} connections")));
    facts.extend(requests.map(|max| format!("at most {max} requests")));
    if settings.panic_percent > 0 {
        facts.push(format!("health ignored below {}%", settings.panic_percent));
    }
    if settings.fail_closed {
        facts.push("refuses when all are down".into());
    }
    facts
}

fn sticky_text(sticky: &StickySettings) -> String {
    let by = match &sticky.by {
        StickyBy::Cookie(name) => format!("our cookie {name}"),
        StickyBy::Key(key) => key_text(key),
        StickyBy::Learned(key) => format!("{} that an endpoint sets", key_text(key)),
    };
    let mode = if sticky.is_strict { "strict " } else { "" };
    format!("{mode}sessions by {by}")
}

fn agent_text(agent: &AgentSettings) -> String {
    let what = match &agent.kind {
        AgentKind::Http { path } => format!("GET {path}"),
        AgentKind::Tcp { .. } => "TCP".to_owned(),
    };
    let port = port_text(agent.port);
    format!("agent asked every {:?} by {what}{port}", agent.interval)
}

fn endpoint_facts(endpoint: &EndpointSettings) -> Vec<String> {
    let mut facts = Vec::new();
    if endpoint.weight != 1 {
        facts.push(format!("weight {}", endpoint.weight));
    }
    if endpoint.tier > 0 {
        facts.push(format!("tier {}", endpoint.tier));
    }
    facts.extend(endpoint.zone.as_ref().map(|zone| format!("zone {zone}")));
    let max = endpoint.max_requests;
    facts.extend(max.map(|max| format!("at most {max} at once")));
    facts
}

fn named_address(endpoint: &EndpointSettings) -> String {
    let (name, address) = (&endpoint.name, endpoint.address.to_string());
    if **name == *address {
        address
    } else {
        format!("{name} at {address}")
    }
}

#[cfg(test)]
mod tests {
    use config::{Contents, Outside};

    use super::*;

    fn summary_of(text: &str) -> String {
        let outside = Outside {
            resolve: &|_| Ok(Vec::new()),
            read: &|_| {
                Ok(Contents {
                    bytes: vec![b'x'; 32],
                    is_private: true,
                })
            },
            check_tls: &|_| Ok(None),
        };
        let loaded = config::parse("test.toml", text, outside).expect("it is valid");
        summary(&loaded.snapshot)
    }

    #[test]
    fn the_summary_names_what_would_be_served() {
        let text = summary_of(
            r#"
            listeners.web.bind = ":8080"
            [pools.app]
            endpoints = ["127.0.0.1:3001", { address = "127.0.0.1:3002", name = "blue" }]
            check = "/healthz"
            [[routes]]
            host = "shop.example"
            pool = "app""#,
        );
        let policy = balance::DEFAULT_POLICY;
        let expected = format!(
            "\
listener web on 0.0.0.0:8080
route shop.example to pool app
pool app, {policy}, checked every 2s by GET /healthz
  endpoint 127.0.0.1:3001
  endpoint blue at 127.0.0.1:3002
"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_summary_says_what_is_spoken() {
        let text = summary_of(
            r#"
            [listeners.calls]
            bind = ":8081"
            h2c = true
            [listeners.plain]
            bind = ":80"
            redirect = "https"
            [listeners.secure]
            bind = ":443"
            proxy_protocol = { from = ["10.0.0.0/8"], header = "optional" }
            trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
            [listeners.secure.tls]
            cert = "shop.pem"
            key = "shop.key"
            policy = "modern"
            client = { ca = "ca.pem" }
            [listeners.test]
            bind = ":8443"
            tls = "self-signed"
            http2 = "off"
            [pools.app]
            endpoints = ["127.0.0.1:3001"]
            tls = { verify = "off" }
            protocol = "auto"
            [pools.old]
            endpoints = ["127.0.0.1:3002"]
            proxy_protocol = "v2"
            [[routes]]
            pool = "app"
            [[routes]]
            path = "/old"
            pool = "old""#,
        );
        for line in [
            "listener calls on 0.0.0.0:8081, HTTP/2 without TLS\n",
            "listener plain on 0.0.0.0:80, redirects to HTTPS at 443\n",
            "listener secure on 0.0.0.0:443, TLS, version 1.3 alone, certificates of clients, \
             optional PROXY headers from 10.0.0.0/8, believes 10.0.0.0/8 and 192.0.2.7/32\n",
            "listener test on 0.0.0.0:8443, TLS, HTTP/1.1 alone, a certificate that is made up\n",
            "  TLS, unverified, HTTP/2 or HTTP/1.1\n",
            "  PROXY headers of version 2\n",
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
    }

    #[test]
    fn the_summary_says_what_is_relayed() {
        let text = summary_of(
            r#"
            [listeners.any]
            bind = ":443"
            protocol = "detect"
            tls = "self-signed"
            pool = "database"
            [listeners.database]
            bind = ":5432"
            protocol = "tcp"
            tls = "self-signed"
            pool = "database"
            passthrough = [{ sni = "db.example", pool = "database" }]
            [listeners.names]
            bind = ":53"
            protocol = "udp"
            pool = "names"
            udp = { replies = 1 }
            [pools.app]
            endpoints = ["127.0.0.1:3001"]
            [pools.database]
            endpoints = ["127.0.0.1:3002"]
            policy = { maglev = { key = "client" } }
            [pools.names]
            endpoints = [{ address = "127.0.0.1:3003", max_connections = 100 }]"#,
        );
        let policy = balance::DEFAULT_POLICY;
        let expected = format!(
            "\
listener any on 0.0.0.0:443, what is spoken is detected within 1s, TLS, a certificate that is made up
listener database on 0.0.0.0:5432, TCP, TLS, a certificate that is made up
listener names on 0.0.0.0:53, UDP, a flow ends with reply 1, at most 65536 flows
route default to pool app
route any to pool database
route database to pool database
route database/db.example to pool database
route names to pool names
pool app, {policy}, checked every 2s by TCP connect
  endpoint 127.0.0.1:3001
pool database, maglev by client address and port, checked every 2s by TCP connect
  endpoint 127.0.0.1:3002
pool names, {policy}, checked every 2s by UDP datagram
  endpoint 127.0.0.1:3003, at most 100 at once
"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_summary_says_what_is_not_as_by_default() {
        let text = summary_of(
            r#"
            zone = "eu-1a"
            secret.file = "secret"
            listeners.web.bind = ":8080"
            [pools.app]
            endpoints = [
                { address = "127.0.0.1:3001", zone = "eu-1a" },
                { address = "127.0.0.1:3002", weight = 2, tier = 1, max_requests = 100 },
            ]
            policy = { maglev = { key = { header = "X-User" }, bounded_load = 1.25 } }
            check = { tcp = { expect = "220 " }, port = 81 }
            agent = { tcp = "", port = 9000 }
            sticky = { cookie = "route", mode = "strict" }
            outlier = "off"
            slow_start = "30s"
            feedback = "off"
            concurrency = "adaptive"
            circuit = { connections = 100, requests = 200 }
            retry = "off"
            hedge = { after = "p99.9" }
            panic = "50%"
            [pools.learned]
            endpoints = ["127.0.0.1:3003"]
            policy = "first"
            check = "off"
            agent = { http = "/load" }
            sticky = { learn = { cookie = "owner" } }
            slow_start = "off"
            fail = "closed"
            [[routes]]
            pool = "app"
            [[routes]]
            path = "/learned"
            pool = "learned""#,
        );
        let expected = "\
listener web on 0.0.0.0:8080
route default to pool app, never retried, hedged after p99.9 up to 5%
route /learned to pool learned
pool app, maglev by header x-user up to 1.25 × a fair share, checked every 2s by TCP answer on port 81
  zone eu-1a, strict sessions by our cookie route, agent asked every 2s by TCP on port 9000, \
no passive checks, slow start of 30s, load reports ignored, \
adaptive limits of 1 to 1000 requests an endpoint, at most 100 connections, at most 200 requests, \
health ignored below 50%
  endpoint 127.0.0.1:3001, zone eu-1a
  endpoint 127.0.0.1:3002, weight 2, tier 1, at most 100 at once
pool learned, first, not checked
  zone eu-1a, sessions by cookie owner that an endpoint sets, agent asked every 2s by GET /load, \
no slow start, refuses when all are down
  endpoint 127.0.0.1:3003
";
        assert_eq!(text, expected);
    }
}
