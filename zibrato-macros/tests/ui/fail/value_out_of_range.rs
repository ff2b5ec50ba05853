use zibrato_macros::count_me;

#[count_me(value = 9223372036854775808)]
fn large() {}

#[count_me(value = 99999999999999999999999999)]
fn huge() {}

#[count_me(value = -9223372036854775808)]
fn low() {}

#[count_me(value = 1e999)]
fn infinite() {}

fn main() {
    large();
    huge();
    low();
    infinite();
}
