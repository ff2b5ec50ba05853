use zibrato_core::limits::BadName;

/// Why a bridge could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeError {
    /// A level's label cannot be used.
    Level {
        /// The label.
        label: String,
        /// What is wrong with it.
        why: BadName,
    },
    /// The program has a recorder for `metrics` already; there can be one, for good.
    AlreadyInstalled,
    /// More fields are to become tags than a metric may have.
    TooManyTags {
        /// How many it may have.
        limit: usize,
    },
    /// A field cannot be a tag, because of its name.
    Field {
        /// The field's name.
        name: String,
        /// What is wrong with it.
        why: BadName,
    },
}

impl std::fmt::Display for BridgeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BridgeError::Level { label, why } => write!(f, "use level {label:?}: {why}"),
            BridgeError::AlreadyInstalled => {
                f.write_str("install the recorder for metrics: the program has one already")
            }
            BridgeError::TooManyTags { limit } => {
                write!(f, "make tags of fields: a metric has at most {limit}, choose fewer")
            }
            BridgeError::Field { name, why } => write!(f, "make a tag of field {name:?}: {why}"),
        }
    }
}

impl std::error::Error for BridgeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BridgeError::Level { why, .. } | BridgeError::Field { why, .. } => Some(why),
            BridgeError::AlreadyInstalled | BridgeError::TooManyTags { .. } => None,
        }
    }
}
