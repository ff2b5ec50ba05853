use zibrato_macros::{count_me, time_me};

#[time_me]
const fn timed() {}

#[count_me(level = "info")]
pub const unsafe fn counted() {}

fn main() {
    timed();
}
