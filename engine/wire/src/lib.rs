//! The bytes of L2E/1: MoldUDP64 framing, message layouts and the packet tag.
