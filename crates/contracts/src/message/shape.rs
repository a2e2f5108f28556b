//! What every kind's file would otherwise repeat: accessors, setters, drafts.

/// Accessors of a message's fields.
macro_rules! accessors {
    ($message:ident { $($(#[$doc:meta])* $name:ident: $type:ty = |$this:ident| $value:expr;)* }) => {
        impl $message {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $name(&self) -> $type {
                    let $this = self;
                    $value
                }
            )*
        }
    };
}

/// Setters of a builder's fields.
macro_rules! setters {
    ($builder:ident { $($(#[$doc:meta])* $name:ident($type:ty) = |$event:ident, $value:ident| $set:expr;)* }) => {
        impl $builder {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $value: $type) -> Self {
                    let $event = &mut self.event;
                    $set;
                    self
                }
            )*
        }
    };
}

/// A draft: an event whose seal is empty.
macro_rules! draft {
    ($(#[$doc:meta])* $draft:ident of $event:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $draft {
            event: $event,
        }

        impl $draft {
            /// A draft of these parts as they stand, whatever they are: nothing is checked and nothing
            /// added, so a receiver may refuse what is signed. What stands in the fields that signing
            /// fills is dropped.
            #[must_use]
            pub fn as_it_stands(mut event: $event) -> Self {
                crate::message::Event::clear_seal(&mut event);
                Self { event }
            }

            /// Its fields; those that signing fills are empty.
            #[must_use]
            pub const fn event(&self) -> &$event {
                &self.event
            }
        }
    };
}

/// A closed set of names that stand as strings on the wire.
macro_rules! names {
    (
        $(#[$doc:meta])* $set:ident, $field:literal, $accepted:literal:
        $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $set {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $set {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Reads the name on the wire.
            pub(crate) fn read(name: &str) -> Result<Self, crate::rejection::Violation> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(crate::rejection::Violation::NotOneOf { field: $field, accepted: $accepted }),
                }
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
