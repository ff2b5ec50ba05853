use zibrato_macros::time_me;

#[time_me(tags = "a", name = "n")]
fn equals() {}

#[time_me(tags["a" = "b"])]
fn brackets() {}

fn main() {
    equals();
    brackets();
}
