//! InfluxDB.

use zibrato_trial::{Influx, Proxy};

use super::{Place, Secret};

pub(crate) struct InfluxDb {
    influx: Influx,
    proxy: Proxy,
    password: Secret,
}

impl InfluxDb {
    pub(crate) fn new() -> Option<InfluxDb> {
        let influx = Influx::start()?;
        let proxy = Proxy::start(influx.port());
        Some(InfluxDb { influx, proxy, password: Secret::new(Influx::PASSWORD) })
    }
}

impl Place for InfluxDb {
    fn name(&self) -> &'static str {
        "influx"
    }

    fn section(&self) -> String {
        format!(
            "url = \"http://127.0.0.1:{}\"\ndatabase = \"metrics\"\nusername = {:?}\npassword-file = {:?}\ntimeout = 2",
            self.proxy.port(),
            Influx::WRITER,
            self.password.path()
        )
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let text = self.influx.query(&format!("SELECT sum(counter) FROM \"{name}\""))?;
        let answer: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        let sum = &answer["results"][0]["series"][0]["values"][0][1];
        sum.as_f64().ok_or_else(|| format!("there is no sum in {text}"))
    }

    fn secret(&self, right: bool) {
        self.password.set(right);
    }

    fn stop(&mut self) {
        self.influx.server.stop();
    }

    fn start(&mut self) {
        self.influx.server.start();
    }
}
