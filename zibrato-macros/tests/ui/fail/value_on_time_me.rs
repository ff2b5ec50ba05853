use zibrato_macros::time_me;

#[time_me(value = 5)]
fn timed() {}

fn main() {
    timed();
}
