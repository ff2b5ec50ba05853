use zibrato_macros::count_me;

#[path = "../../stub/mod.rs"]
mod stub;

#[count_me(crate = crate::stub, value = itms.len())]
fn counted(items: &[u8]) {
    let _ = items;
}

fn main() {
    counted(&[]);
}
