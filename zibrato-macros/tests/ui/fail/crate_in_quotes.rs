use zibrato_macros::time_me;

#[time_me(crate = "zibrato")]
fn quoted() {}

#[time_me(crate)]
fn alone() {}

fn main() {
    quoted();
    alone();
}
