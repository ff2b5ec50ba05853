use zibrato_macros::time_me;

#[time_me(level = 5, name = "")]
struct Record;

fn main() {
    let _ = Record;
}
