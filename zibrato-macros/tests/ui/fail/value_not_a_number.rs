use zibrato_macros::count_me;

#[count_me(value = "5")]
fn text() {}

#[count_me(value = true)]
fn truth() {}

#[count_me(value = -'a')]
fn character() {}

fn main() {
    text();
    truth();
    character();
}
