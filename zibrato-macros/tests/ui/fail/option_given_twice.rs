use zibrato_macros::time_me;

#[time_me(name = "a", outcome, name = "b", outcome)]
fn timed() {}

fn main() {
    timed();
}
