//! The admin API: reading only, by GET.
//!
//! It listens on loopback unless the config says otherwise. A web page that the operator visits
//! can still reach loopback through the browser, under a name that its owner points there (DNS
//! rebinding); so on loopback only requests for an IP address or `localhost` are answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::view::View;

/// Answers on `listener` until dropped. `extra` adds routes of its own.
pub(crate) async fn serve(listener: TcpListener, view: Arc<View>, extra: Router) {
    // Without an address, rather check too much.
    let is_local = listener
        .local_addr()
        .map_or(true, |bind| bind.ip().is_loopback());
    // Never ends (see its documentation): errors of accept are retried.
    let _ = axum::serve(listener, router(is_local, view, extra)).await;
}

fn router(is_local: bool, view: Arc<View>, extra: Router) -> Router {
    let router = Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(view)
        .merge(extra);
    if is_local {
        router.layer(middleware::from_fn(refuse_rebound))
    } else {
        router
    }
}

async fn metrics(State(view): State<Arc<View>>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], view.metrics())
}

async fn status(State(view): State<Arc<View>>) -> Response {
    Json(view.status()).into_response()
}

async fn refuse_rebound(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .map(|host| host.as_bytes());
    if host.is_none_or(is_local_name) {
        return next.run(request).await;
    }
    (
        StatusCode::FORBIDDEN,
        "ask for localhost or an IP address; other names are refused here\n",
    )
        .into_response()
}

/// Whether a Host field names this machine in a way that nobody else controls.
///
/// No field at all is fine too (HTTP/1.0): a browser always sends one.
fn is_local_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

const INDEX: &str = "\
Pointsman, admin API

GET /status   pools, endpoints, their health and what happened to them (JSON)
GET /metrics  numbers for Prometheus
GET /healthz  200 while the control thread lives
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_can_rebind_are_local() {
        for host in [
            "localhost",
            "LocalHost:9090",
            "127.0.0.1",
            "127.0.0.1:9090",
            "[::1]:9090",
        ] {
            assert!(is_local_name(host.as_bytes()), "{host}");
        }
        let foreign = [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "",
            "\u{e9}",
        ];
        for host in foreign {
            assert!(!is_local_name(host.as_bytes()), "{host}");
        }
    }
}
