//! Librato's end, which is Zibrato's own.

use zibrato_librato::endpoint::{Config, Endpoint};
use zibrato_trial::Proxy;

use super::{Place, Secret};

pub(crate) struct Librato {
    endpoint: Endpoint,
    proxy: Proxy,
    token: Secret,
}

impl Librato {
    pub(crate) fn new() -> Librato {
        let endpoint = Endpoint::start(Config::default()).unwrap();
        let port = endpoint.url().rsplit_once(':').unwrap().1.trim_end_matches('/').parse().unwrap();
        Librato { endpoint, proxy: Proxy::start(port), token: Secret::new("tok") }
    }
}

impl Place for Librato {
    fn name(&self) -> &'static str {
        "librato"
    }

    fn section(&self) -> String {
        format!(
            "url = \"http://127.0.0.1:{}\"\nusername = \"me@example.com\"\ntoken-file = {:?}\ntimeout = 2",
            self.proxy.port(),
            self.token.path()
        )
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let total = self.endpoint.total(name, "everywhere").value.whole();
        total.map(|whole| whole as f64).ok_or_else(|| "it is not whole".into())
    }

    fn secret(&self, right: bool) {
        self.token.set(right);
    }

    fn stop(&mut self) {
        self.proxy.refuse();
    }

    fn start(&mut self) {
        self.proxy.pass();
    }
}
