use zibrato_macros::count_me;

#[count_me(level, name =, tags, value)]
fn counted() {}

fn main() {
    counted();
}
