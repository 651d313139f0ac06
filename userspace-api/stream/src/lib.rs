//! Order flow from files: LOBSTRM1 streams (read, generated) and LOBSTER samples.
