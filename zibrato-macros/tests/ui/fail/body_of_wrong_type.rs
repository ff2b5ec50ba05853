use zibrato_macros::time_me;

#[path = "../../stub/mod.rs"]
mod stub;

#[time_me(crate = crate::stub)]
fn plain() -> u32 {
    "text"
}

#[time_me(crate = crate::stub, outcome)]
fn with_outcome() -> u32 {
    "text"
}

#[time_me(crate = crate::stub)]
async fn future() -> u32 {
    "text"
}

#[time_me(crate = crate::stub)]
async fn no_tail() -> u32 {
    1;
}

fn main() {
    plain();
    let _ = with_outcome();
    let _ = future();
    let _ = no_tail();
}
