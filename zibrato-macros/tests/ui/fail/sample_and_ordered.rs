use zibrato_macros::time_me;

#[time_me(sample = 16, ordered)]
fn both() {}

#[time_me(ordered = true)]
fn flag() {}

fn main() {
    (both(), flag());
}
