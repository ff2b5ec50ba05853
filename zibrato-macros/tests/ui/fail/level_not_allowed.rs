use zibrato_macros::time_me;

#[time_me(level = "")]
fn empty() {}

#[time_me(level = "a label that has thirty-three byte")]
fn long() {}

#[time_me(level = "a|b")]
fn bar() {}

#[time_me(level = "info,debug")]
fn list() {}

#[time_me(level = "very loud")]
fn blank() {}

#[time_me(level = "beat")]
fn reserved() {}

fn main() {
    empty();
    long();
    bar();
    list();
    blank();
    reserved();
}
