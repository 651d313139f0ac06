//! Client SDK: sessions, signed packets, resend, gap handling and acks over UDP.
