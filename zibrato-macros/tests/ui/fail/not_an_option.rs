use zibrato_macros::{count_me, time_me};

#[time_me("my name")]
fn timed() {}

#[count_me(5)]
fn counted() {}

fn main() {
    timed();
    counted();
}
