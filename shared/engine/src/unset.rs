//! Fields that came after the first version of a message: one that is absent and one that has the default are the same bytes as ever.

/// For serde's `skip_serializing_if`.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
