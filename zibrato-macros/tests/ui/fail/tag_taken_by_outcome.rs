use zibrato_macros::time_me;

#[time_me(tags(outcome = "good"), outcome)]
fn timed() {}

#[time_me(tags(outcome = "without the flag it is free"), name = 5)]
fn free() {}

fn main() {
    timed();
    free();
}
