//! The APIs for people and programs: REST, WebSocket, OUCH over SoupBinTCP.
