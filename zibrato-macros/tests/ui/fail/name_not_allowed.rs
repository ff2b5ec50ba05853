use zibrato_macros::{count_me, time_me};

#[time_me(name = "", source = "two\nlines")]
fn timed() {}

#[count_me(name = b"bytes", source = HOST)]
fn counted() {}

#[time_me(name = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
fn long() {}

fn main() {
    timed();
    counted();
    long();
}
