use zibrato_macros::{count_me, time_me};

trait Service {
    #[time_me]
    fn call(&self, request: &str) -> u32;

    #[count_me]
    async fn poll(&self);
}

unsafe extern "C" {
    #[time_me]
    fn foreign();
}

fn main() {}
