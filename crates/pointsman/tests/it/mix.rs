//! A client of any kind, the proxy, and an endpoint of any kind: HTTP/1.1 or HTTP/2, in the clear
//! or inside TLS, sixteen mixes in all.

use testkit::{
    Client, Endpoint, H2Client, H2Request, Pki, Protocol, Reply, Response, TlsClient, TlsServer,
};

use crate::harness::{Proxy, Setup};

/// What one side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    H1,
    H1Tls,
    H2c,
    H2Tls,
}

pub(crate) const SPEECHES: [Speech; 4] = [Speech::H1, Speech::H1Tls, Speech::H2c, Speech::H2Tls];

/// A client of any kind.
pub(crate) enum AnyClient {
    H1(Client),
    H2(H2Client),
}

/// An endpoint, the proxy before it, and what a client needs to get there.
pub(crate) struct Mix {
    pki: Pki,
    pub(crate) endpoint: Endpoint,
    pub(crate) proxy: Proxy,
    down: Speech,
}

impl Speech {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::H1Tls | Self::H2Tls)
    }

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }

    /// What an endpoint speaks.
    fn protocol(self, pki: &Pki) -> Protocol {
        let protocol = if self.is_h2() {
            Protocol::h2()
        } else {
            Protocol::h1()
        };
        if self.is_tls() {
            protocol.over(&TlsServer::new(&pki.server(&["app.internal"])))
        } else {
            protocol
        }
    }

    /// The keys of a listener that speaks it too.
    fn listener(self, pki: &Pki) -> String {
        match self {
            Self::H1 | Self::H2c => "h2c = true".to_owned(),
            Self::H1Tls | Self::H2Tls => {
                format!("tls = {}", pki.server(&["test.example"]).toml())
            }
        }
    }

    /// The keys of a pool of such endpoints.
    fn pool(self, pki: &Pki) -> String {
        let mut keys = String::new();
        if self.is_h2() {
            keys += "protocol = \"h2\"\n";
        }
        if self.is_tls() {
            let ca = pki.ca();
            keys += &format!(
                "tls = {{ ca = \"{}\", name = \"app.internal\" }}\n",
                ca.display()
            );
        }
        keys
    }
}

impl Mix {
    pub(crate) fn start(
        down: Speech,
        up: Speech,
        on_request: impl Fn(&testkit::Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let pki = Pki::new();
        let endpoint = Endpoint::speaking(up.protocol(&pki), on_request);
        let proxy = Setup::to(&[&endpoint])
            .listener(&down.listener(&pki))
            .pool(&up.pool(&pki))
            .start();
        Self {
            pki,
            endpoint,
            proxy,
            down,
        }
    }

    #[track_caller]
    pub(crate) fn client(&self) -> AnyClient {
        let peer = self.proxy.peer();
        let tls = TlsClient::new(&self.pki, "test.example");
        match self.down {
            Speech::H1 => AnyClient::H1(Client::connect(peer)),
            Speech::H1Tls => AnyClient::H1(Client::connect_tls(peer, &tls.offering(&["http/1.1"]))),
            Speech::H2c => AnyClient::H2(H2Client::connect(peer)),
            Speech::H2Tls => AnyClient::H2(H2Client::connect_tls(peer, &tls)),
        }
    }
}

impl Mix {
    /// A new connection of a client that speaks HTTP/2.
    #[track_caller]
    pub(crate) fn h2_client(&self) -> H2Client {
        match self.client() {
            AnyClient::H2(client) => client,
            AnyClient::H1(_) => panic!("{:?} is no HTTP/2", self.down),
        }
    }
}

impl AnyClient {
    /// Sends a request with a body and trailers, perhaps none, and reads the response.
    #[track_caller]
    pub(crate) fn exchange(
        &mut self,
        method: &str,
        target: &str,
        body: Option<&[u8]>,
        trailers: &[(&str, &str)],
    ) -> Response {
        match self {
            Self::H2(client) => {
                let request = H2Request::new(method, target).field("te", "trailers");
                let Some(body) = body else {
                    return client.send(&request, b"").read_response();
                };
                let mut stream = client.open(&request);
                stream.send_data(body);
                if trailers.is_empty() {
                    stream.finish();
                } else {
                    stream.send_trailers(trailers);
                }
                stream.read_response()
            }
            Self::H1(client) => {
                let head = format!(
                    "{method} {target} HTTP/1.1\r\nHost: test.example\r\n\
                                    Connection: TE\r\nTE: trailers\r\n"
                );
                match body {
                    None => client.send(format!("{head}\r\n")),
                    Some(body) if trailers.is_empty() => {
                        let length = body.len();
                        client.send(format!("{head}Content-Length: {length}\r\n\r\n"));
                        client.send(body);
                    }
                    Some(body) => {
                        client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
                        client.send(format!("{:x}\r\n", body.len()));
                        client.send(body);
                        let lines = trailers
                            .iter()
                            .map(|(name, value)| format!("{name}: {value}\r\n"));
                        client.send(format!("\r\n0\r\n{}\r\n", lines.collect::<String>()));
                    }
                }
                client.read_response_to(method)
            }
        }
    }
}

/// Calls `test` with each of the sixteen mixes.
pub(crate) fn each_mix(test: impl Fn(Speech, Speech)) {
    for down in SPEECHES {
        for up in SPEECHES {
            test(down, up);
        }
    }
}

pub(crate) fn number_in(target: &str) -> u64 {
    let digits = target.rsplit('/').next().unwrap_or_default();
    digits.parse().expect("the target ends with a number")
}
