//! Five hundred and twelve call sites.

/// How many.
pub(crate) const SITES: usize = 512;

macro_rules! eight {
    ($then:ident $($digit:literal)*) => {
        $then!($($digit)* 0);
        $then!($($digit)* 1);
        $then!($($digit)* 2);
        $then!($($digit)* 3);
        $then!($($digit)* 4);
        $then!($($digit)* 5);
        $then!($($digit)* 6);
        $then!($($digit)* 7);
    };
}

macro_rules! sixty_four {
    ($a:literal) => {
        eight!(site_of $a);
    };
}

macro_rules! site_of {
    ($a:literal $b:literal) => {
        eight!(site $a $b);
    };
}

macro_rules! site {
    ($a:literal $b:literal $c:literal) => {
        zibrato::count!(concat!("site.", $a, $b, $c));
    };
}

/// Passes each of them once.
pub(crate) fn pass() {
    eight!(sixty_four);
}

/// As many names for handles.
pub(crate) fn names(prefix: &str, how_many: usize) -> Vec<String> {
    (0..how_many).map(|i| format!("{prefix}.{i}")).collect()
}
