use zibrato_macros::time_me;

const LEVEL: &str = "debug";

#[time_me(level = info)]
fn word() {}

#[time_me(level = LEVEL)]
fn constant() {}

#[time_me(level = 3)]
fn number() {}

#[time_me(level = concat!("de", "bug"))]
fn computed() {}

fn main() {
    word();
    constant();
    number();
    computed();
}
