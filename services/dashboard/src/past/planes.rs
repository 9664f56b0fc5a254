//! Frames of telemetry as differences: of each node's five bytes what was added to those of before, all first bytes, then all second ones, and
//! so on. Most are zero, and zeros in a row compress to nearly nothing.

/// Of a frame, see [`crate::view::NodeTable::frame`].
const HEADER_BYTES: usize = 16;
const NODE_BYTES: usize = 5;

/// The difference of two frames of the same nodes; none when the nodes are others.
pub(super) fn difference(before: &[u8], next: &[u8]) -> Option<Vec<u8>> {
    let (old, new) = (before.get(HEADER_BYTES..)?, next.get(HEADER_BYTES..)?);
    // The header from byte 8 on says which nodes in which order these are.
    if before[8..HEADER_BYTES] != next[8..HEADER_BYTES] || old.len() != new.len() {
        return None;
    }
    let mut planes = next[..HEADER_BYTES].to_vec();
    planes.reserve_exact(new.len());
    for plane in 0..NODE_BYTES {
        let cells = old.iter().zip(new).skip(plane).step_by(NODE_BYTES);
        planes.extend(cells.map(|(before, next)| next.wrapping_sub(*before)));
    }
    Some(planes)
}

/// The frame that a difference leads to.
#[cfg(test)]
pub(super) fn sum(before: &[u8], planes: &[u8]) -> Vec<u8> {
    let mut frame = before.to_vec();
    frame[..HEADER_BYTES].copy_from_slice(&planes[..HEADER_BYTES]);
    let count = (frame.len() - HEADER_BYTES) / NODE_BYTES;
    for (at, added) in planes[HEADER_BYTES..].iter().enumerate() {
        let (plane, node) = (at / count, at % count);
        let cell = &mut frame[HEADER_BYTES + node * NODE_BYTES + plane];
        *cell = cell.wrapping_add(*added);
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(revision: u8, cells: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; HEADER_BYTES];
        frame[8] = revision;
        frame.extend_from_slice(cells);
        frame
    }

    #[test]
    fn other_nodes_have_no_difference() {
        let cells = [1, 2, 3, 4, 5];
        assert!(difference(&frame(1, &cells), &frame(2, &cells)).is_none());
        assert!(difference(&frame(1, &cells), &frame(1, &[0; 10])).is_none());
        assert!(difference(&[], &frame(1, &cells)).is_none());
    }

    proptest! {
        #[test]
        fn a_frame_and_a_difference_make_the_next_frame(cells in proptest::collection::vec(any::<(u8, u8)>(), 0..40)) {
            let whole = cells.len() / NODE_BYTES * NODE_BYTES;
            let (old, new): (Vec<u8>, Vec<u8>) = cells[..whole].iter().copied().unzip();
            let (before, mut next) = (frame(7, &old), frame(7, &new));
            next[4] = 9;
            prop_assert_eq!(sum(&before, &difference(&before, &next).unwrap()), next);
        }
    }
}
