use zibrato_macros::time_me;

#[time_me(outcome = true, name = "n")]
fn timed() {}

fn main() {
    timed();
}
