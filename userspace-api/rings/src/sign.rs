//! A request's tag, as its client makes it.

use ring0_wire::Key;

/// Puts the tag of its session into a payload whose tag is zeros.
pub(crate) fn sign(payload: &mut [u8], tags: &[Option<Key>]) {
    let buffer = ring0_wire::Buffer::new();
    buffer.copy_in(payload);
    let Some(signed) = payload.len().checked_sub(ring0_wire::TAG_BLOCK) else {
        return;
    };
    let Some(Some(key)) =
        ring0_wire::mold::session_index(&buffer).and_then(|index| tags.get(index as usize))
    else {
        return;
    };
    let tag = ring0_wire::mac::tag::<ring0_wire::Native>(
        &buffer,
        signed,
        key,
        ring0_wire::Domain::Request,
    );
    if let Ok(tag) = tag {
        ring0_wire::mac::put_tag(&buffer, signed, tag);
        buffer.copy_out(payload);
    }
}
