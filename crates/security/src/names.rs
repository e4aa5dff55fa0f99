//! Conversion between the values of a setting and their names.

/// Implements `Display` and `FromStr` for an enum with `ALL` and `name()`. `$error` holds a name that no value has.
macro_rules! by_name {
    ($type:ident, $error:ident) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            /// Finds the value with this name. The case matters.
            fn from_str(name: &str) -> Result<Self, $error> {
                Self::ALL.into_iter().find(|value| value.name() == name).ok_or_else(|| $error(name.to_owned()))
            }
        }
    };
}
pub(crate) use by_name;
