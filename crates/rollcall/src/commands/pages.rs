//! Lists that come in pages, read to their end.

use rollcall_api::List;
use rollcall_api::client::{Answer, ClientError};

use crate::failure::Failure;
use crate::server::explain;

/// Reads page after page until the list ends or has `limit` items. All pages show the same revision.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn read_all<T>(
    limit: Option<u32>,
    mut page: impl AsyncFnMut(Option<u32>, Option<String>) -> Result<Answer<List<T>>, ClientError>,
) -> Result<List<T>, Failure> {
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut all: Option<List<T>> = None;
    loop {
        let cursor = all.as_mut().and_then(|list| list.next_cursor.take());
        let next = page(limit, cursor).await.map_err(|error| explain(&error))?.value;
        let list = match all.take() {
            None => next,
            Some(mut list) => {
                list.items.extend(next.items);
                List { items: list.items, ..next }
            }
        };
        if list.next_cursor.is_none() || list.items.len() >= most {
            return Ok(list);
        }
        all = Some(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(start: u64) -> Answer<List<u64>> {
        let next_cursor = (start < 4).then(|| (start + 2).to_string());
        Answer {
            value: List { items: vec![start, start + 1], revision: 7, next_cursor },
            revision: Some(7),
            staleness_ms: None,
        }
    }

    async fn read(limit: Option<u32>) -> List<u64> {
        let page = async |_, cursor: Option<String>| Ok(page_of(cursor.map_or(0, |text| text.parse().unwrap())));
        read_all(limit, page).await.unwrap()
    }

    #[tokio::test]
    async fn pages_are_joined_and_a_limit_stops_early() {
        assert_eq!(read(None).await, List { items: vec![0, 1, 2, 3, 4, 5], revision: 7, next_cursor: None });
        assert_eq!(read(Some(2)).await.items, [0, 1]);
    }
}
