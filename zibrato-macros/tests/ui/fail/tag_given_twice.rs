use zibrato_macros::time_me;

#[time_me(tags(zone = "a", "zone" = "b"))]
fn timed() {}

fn main() {
    timed();
}
