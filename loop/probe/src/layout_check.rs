//! The layout of a page as the compiler makes it, for the test that compares the specification (`docs/page.md`) with it.
//!
//! Fields are private to their modules, so each module that has a part of the page says its layout with [`layout`]. A field that
//! is left out there does not compile.

/// A row of the specification: a structure, or a word of one as `structure.word`; where it begins in the structure; its bytes.
pub(crate) type Row = (String, usize, usize);

/// A structure of the page.
pub(crate) trait Layout {
    /// Returns the structure's row, and those of its words in their order.
    fn rows() -> Vec<Row>;
}

/// Returns the size of the field that `_field` returns.
pub(crate) fn field_bytes<T, F>(_field: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Says the layout of a structure, under the name that the specification has for it. `layout!(NowWords, "now", running,
/// busy_since)` implements [`Layout`] for `NowWords`: rows with `offset_of!` and size of each field, after a pattern that has
/// all fields, so that none is forgotten.
macro_rules! layout {
    ($structure:ty, $name:literal, $($field:ident),+ $(,)?) => {
        impl $crate::layout_check::Layout for $structure {
            fn rows() -> Vec<$crate::layout_check::Row> {
                type Whole = $structure;
                let _complete = |Whole { $($field: _),+ }: Whole| ();
                let mut rows = vec![($name.to_owned(), 0, size_of::<Whole>())];
                $(rows.push((
                    format!(concat!($name, ".{}"), stringify!($field)),
                    std::mem::offset_of!(Whole, $field),
                    $crate::layout_check::field_bytes(|whole: &Whole| &whole.$field),
                ));)+
                rows
            }
        }
    };
}
pub(crate) use layout;

// Not under Miri, which has no files.
#[cfg(not(miri))]
#[path = "page_layout_tests.rs"]
mod tests;
