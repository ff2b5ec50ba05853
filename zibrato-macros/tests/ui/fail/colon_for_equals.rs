use zibrato_macros::time_me;

#[time_me(level: "debug", name = "n")]
fn timed() {}

fn main() {
    timed();
}
