//! Names as small numbers, so that a request compares numbers and not texts.

/// Position of a name among the names of its index.
pub(crate) type Symbol = u32;
/// Stands for a name that is missing.
pub(crate) const NONE: Symbol = u32::MAX;
/// Stands for a name that no candidate has.
pub(crate) const STRANGE: Symbol = u32::MAX - 1;

/// The distinct names of an index, in order.
#[derive(Debug, Clone)]
pub(crate) struct Names<T>(Box<[T]>);

impl<T: Ord + Clone> Names<T> {
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let mut names: Vec<&T> = names.collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into_iter().cloned().collect())
    }

    /// [`STRANGE`] for a name that is not among them.
    pub(crate) fn symbol(&self, name: &T) -> Symbol {
        self.0.binary_search(name).map_or(STRANGE, |position| position as Symbol)
    }

    /// [`NONE`] for a name that is missing.
    pub(crate) fn symbol_or_none(&self, name: Option<&T>) -> Symbol {
        name.map_or(NONE, |name| self.symbol(name))
    }

    pub(crate) fn position(&self, name: &T) -> Option<usize> {
        self.0.binary_search(name).ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}
