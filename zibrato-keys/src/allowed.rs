//! Who may come in, and what they may do.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zibrato_core::level::{Levels, TRACE};

use crate::{Error, PublicKey};

const LONGEST_NAME: usize = 64;
const MOST_BYTES: u64 = 16 << 20;

/// How much of something an identity may do, over all of its connections; `None` leaves it to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most frames a second that it may send.
    pub frames_per_second: Option<u64>,
    /// Most bytes a second that it may send.
    pub bytes_per_second: Option<u64>,
    /// Most instances (processes) that it may speak for at a time.
    pub instances: Option<u64>,
}

/// Somebody who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What they are called, in logs and counts.
    pub name: String,
    /// Their public keys, at least one; two of them while one takes the other's place.
    pub keys: Vec<PublicKey>,
    /// They may send frames and hand over last totals, as applications do.
    pub may_send: bool,
    /// They may subscribe and ask, as workers do.
    pub may_receive: bool,
    /// The levels at which they may do either; all of them, the trace's too, where the file names none.
    pub levels: Levels,
    /// How much they may do.
    pub limits: Limits,
}

impl Identity {
    /// One with these keys that may do everything.
    pub fn new(name: impl Into<String>, keys: Vec<PublicKey>) -> Identity {
        let (may_send, may_receive) = (true, true);
        Identity {
            name: name.into(),
            keys,
            may_send,
            may_receive,
            levels: every_level(),
            limits: Limits::default(),
        }
    }

    /// Its table, as [`Allowed::parse`] reads it.
    pub fn to_toml(&self) -> String {
        let quoted: Vec<String> = self.keys.iter().map(|key| format!("\"{key}\"")).collect();
        let mut text = match quoted.as_slice() {
            [key] => format!("[\"{}\"]\nkey = {key}\n", self.name),
            keys => format!("[\"{}\"]\nkeys = [{}]\n", self.name, keys.join(", ")),
        };
        if !self.name.contains('.') {
            text = text.replacen('"', "", 2);
        }
        match (self.may_send, self.may_receive) {
            (true, false) => text += "may = [\"send\"]\n",
            (false, true) => text += "may = [\"receive\"]\n",
            _ => {}
        }
        if self.levels != every_level() {
            text += &format!("levels = \"{}\"\n", self.levels);
        }
        let Limits { frames_per_second, bytes_per_second, instances } = self.limits;
        for (name, limit) in [
            ("frames_per_second", frames_per_second),
            ("bytes_per_second", bytes_per_second),
            ("instances", instances),
        ] {
            if let Some(limit) = limit {
                text += &format!("{name} = {limit}\n");
            }
        }
        text
    }
}

/// The identities that a broker lets in.
///
/// They are read from a TOML file with a table for each:
///
/// ```
/// use std::path::Path;
/// use zibrato_keys::Allowed;
/// let allowed = Allowed::parse(Path::new("allowed.toml"), r#"
///     [web-1]
///     key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
///     may = ["send"]                # or "receive", or both, which is the default
///     levels = "info,error"         # as `zibrato tail --level` takes them; all by default
///     frames_per_second = 1000      # limits are the broker's own where none is given
///     bytes_per_second = 1_000_000
///     instances = 50
/// "#)?;
/// let key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID".parse().unwrap();
/// assert_eq!(allowed.identify(&key).map(|identity| identity.name.as_str()), Some("web-1"));
/// # Ok::<(), zibrato_keys::Error>(())
/// ```
///
/// `keys = ["…", "…"]` stands for several keys of one identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    identities: Vec<Arc<Identity>>,
    by_key: HashMap<PublicKey, usize>,
}

impl Allowed {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or anything in it is wrong, see [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Allowed, Error> {
        let bad = |why| Error::Allowed { path: path.into(), line: None, identity: None, why };
        let file = std::fs::metadata(path).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => {
                bad(format!("{why}; an empty file lets nobody in, and `zibrato keys allow` adds to it"))
            }
            _ => bad(why.to_string()),
        })?;
        if file.len() > MOST_BYTES {
            return Err(bad(format!("it is longer than {MOST_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|why| bad(why.to_string()))?;
        Allowed::parse(path, &text)
    }

    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// When anything in it is not understood: who may come in is not to be guessed. The error names the file, the
    /// identity and the line. A file without identities is in order; it lets nobody in.
    pub fn parse(path: &Path, text: &str) -> Result<Allowed, Error> {
        let line = |at: usize| Some(1 + text.bytes().take(at).filter(|b| *b == b'\n').count());
        let table = DeTable::parse(text).map_err(|why| Error::Allowed {
            path: path.into(),
            line: why.span().and_then(|span| line(span.start)),
            identity: None,
            why: why.message().into(),
        })?;
        // In the order of the file.
        let mut tables: Vec<_> = table.get_ref().iter().collect();
        tables.sort_by_key(|(name, _)| name.span().start);
        let mut allowed = Allowed::default();
        for (name, value) in tables {
            let bad = |(at, why): Wrong| Error::Allowed {
                path: path.into(),
                line: line(at),
                identity: Some(name.get_ref().to_string()),
                why,
            };
            let identity = identity(name, value).map_err(bad)?;
            for (key, at) in &identity.1 {
                let index = allowed.identities.len();
                if let Some(other) = allowed.by_key.insert(*key, index) {
                    let why = match allowed.identities.get(other) {
                        Some(other) => format!("{} has the same key: give each its own", other.name),
                        None => "it has the same key twice".into(),
                    };
                    return Err(bad((*at, why)));
                }
            }
            allowed.identities.push(Arc::new(identity.0));
        }
        Ok(allowed)
    }

    /// Adds an identity to the file at `path`, which is made where there is none; what is in it stays as it is. The file
    /// is replaced at once, so that a broker never reads half of it.
    ///
    /// # Errors
    /// When the file has something wrong in it, has the name or a key of the identity already, or cannot be written.
    pub fn add(path: &Path, identity: &Identity) -> Result<(), Error> {
        let failed = |why: std::io::Error| Error::Write { path: path.into(), why: why.to_string() };
        let mut text = match std::fs::read_to_string(path) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed)?,
        };
        // An error in what is there already is told as such.
        Allowed::parse(path, &text)?;
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&identity.to_toml());
        Allowed::parse(path, &text)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let replaced = || {
            let mut file = std::fs::File::create(&beside)?;
            if let Ok(old) = std::fs::metadata(path) {
                file.set_permissions(old.permissions())?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        replaced().map_err(|why| {
            let _ = std::fs::remove_file(&beside);
            failed(why)
        })
    }

    /// Whose key it is; `None` where its owner may not come in.
    pub fn identify(&self, key: &PublicKey) -> Option<&Arc<Identity>> {
        self.by_key.get(key).and_then(|index| self.identities.get(*index))
    }

    /// The identities, in the order of the file.
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.identities
    }
}

/// Whether an identity may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

/// What is wrong, and where in the text.
type Wrong = (usize, String);
type Name<'a> = Spanned<Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

fn identity(name: &Name<'_>, value: &Value<'_>) -> Result<(Identity, Vec<(PublicKey, usize)>), Wrong> {
    let at = name.span().start;
    let DeValue::Table(table) = value.get_ref() else {
        return Err((at, format!("write a table for each identity: [{}]", name.get_ref())));
    };
    if !is_name(name.get_ref()) {
        return Err((at, "a name has up to 64 letters, digits, -, _ and .".into()));
    }
    let mut identity = Identity::new(name.get_ref().as_ref(), Vec::new());
    let mut keys = Vec::new();
    for (name, value) in table {
        let limits = &mut identity.limits;
        match name.get_ref().as_ref() {
            "key" => keys.push(key(value)?),
            "keys" => {
                for value in list(value).ok_or((value.span().start, "keys is a list of keys".into()))? {
                    keys.push(key(value)?);
                }
            }
            "may" => (identity.may_send, identity.may_receive) = may(value)?,
            "levels" => identity.levels = levels(value)?,
            "frames_per_second" => limits.frames_per_second = Some(limit(value)?),
            "bytes_per_second" => limits.bytes_per_second = Some(limit(value)?),
            "instances" => limits.instances = Some(limit(value)?),
            other => {
                let why = match value.get_ref() {
                    DeValue::Table(_) => {
                        format!("unknown table {other:?}; a name with a dot is written in quotes, [\"a.b\"]")
                    }
                    _ => format!(
                        "unknown key {other:?}; there are key, keys, may, levels, frames_per_second, \
                         bytes_per_second and instances"
                    ),
                };
                return Err((name.span().start, why));
            }
        }
    }
    if keys.is_empty() {
        return Err((at, "it has no key: add key = \"…\" with the text in its NAME.key".into()));
    }
    identity.keys = keys.iter().map(|(key, _)| *key).collect();
    Ok((identity, keys))
}

fn every_level() -> Levels {
    // A constant that the tests parse, too.
    format!("*,{TRACE}").parse().unwrap_or_default()
}

fn list<'a, 'b>(value: &'a Value<'b>) -> Option<impl Iterator<Item = &'a Value<'b>>> {
    value.get_ref().as_array().map(|array| array.iter())
}

fn key(value: &Value<'_>) -> Result<(PublicKey, usize), Wrong> {
    let at = value.span().start;
    let text = value.get_ref().as_str().ok_or((at, "a key is a text in quotes".into()))?;
    text.parse().map(|key| (key, at)).map_err(|why| (at, format!("{text:?}: {why}")))
}

fn may(value: &Value<'_>) -> Result<(bool, bool), Wrong> {
    let wrong = || (value.span().start, "may is a list of \"send\" and \"receive\"".to_string());
    let (mut send, mut receive) = (false, false);
    for value in list(value).ok_or_else(wrong)? {
        match value.get_ref().as_str() {
            Some("send") => send = true,
            Some("receive") => receive = true,
            _ => return Err(wrong()),
        }
    }
    if send || receive { Ok((send, receive)) } else { Err(wrong()) }
}

fn levels(value: &Value<'_>) -> Result<Levels, Wrong> {
    let at = value.span().start;
    let text = value.get_ref().as_str().ok_or((at, "levels is a text, as in \"info,error\"".into()))?;
    text.parse().map_err(|why| (at, format!("failed to {why}")))
}

fn limit(value: &Value<'_>) -> Result<u64, Wrong> {
    let number = value.get_ref().as_integer().and_then(|number| {
        let digits = number.as_str().replace('_', "");
        u64::from_str_radix(&digits, number.radix()).ok()
    });
    number.filter(|number| *number > 0).ok_or((value.span().start, "a limit is a number from 1".into()))
}
