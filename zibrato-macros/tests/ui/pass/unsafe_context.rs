//! Under older rules an unsafe function needs no unsafe block, also where its body becomes a closure or a future.
#![allow(unsafe_op_in_unsafe_fn)]

use zibrato_macros::time_me;

#[path = "../../stub/mod.rs"]
mod stub;

#[time_me(crate = crate::stub)]
unsafe fn plain(p: *const u32) -> u32 {
    *p
}

#[time_me(crate = crate::stub, outcome)]
unsafe fn closure(p: *const u32) -> u32 {
    *p
}

#[time_me(crate = crate::stub)]
async unsafe fn future(p: *const u32) -> u32 {
    *p
}

fn main() {
    let a = 1;
    let all = unsafe { [plain(&a), closure(&a), stub::run(future(&a))] };
    assert_eq!(all, [1; 3]);
}
