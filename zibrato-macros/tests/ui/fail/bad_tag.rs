use zibrato_macros::time_me;

#[time_me(tags(a = 1, b, "" = "x", c = "", d = "tab\t", e = "good"))]
fn several() {}

#[time_me(tags(5 = "x"))]
fn number() {}

fn main() {
    several();
    number();
}
