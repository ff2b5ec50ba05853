use zibrato_macros::time_me;

#[time_me(sample = 0)]
fn none() {}

#[time_me(sample = 0.1)]
fn share() {}

#[time_me(sample = N)]
fn named() {}

#[time_me(sample)]
fn without() {}

const N: u32 = 16;

fn main() {
    (none(), share(), named(), without());
}
