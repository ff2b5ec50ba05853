use zibrato_macros::{count_me, time_me};

#[time_me(levle = "debug", name = "kept on reading", trail)]
fn timed() {}

#[count_me(sample = 0.1, value = 1)]
fn counted() {}

fn main() {
    timed();
    counted();
}
