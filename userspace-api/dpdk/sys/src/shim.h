/* What DPDK has only as inline functions, as functions that can be linked; and no more of a packet buffer than this project needs. */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

/* A packet buffer, looked at. */
struct ring0_frame {
	/* First byte of the first segment. */
	uint8_t *data;
	/* Bytes in the first segment. */
	uint16_t len;
	/* Bytes that the first segment could have. */
	uint16_t room;
	/* Segments. */
	uint16_t segments;
	/* References to the buffer: more than one, and somebody else may be reading it. */
	uint16_t references;
};

/* Bytes of a buffer for any frame of an unextended Ethernet: DPDK's default, headroom included. */
extern const uint16_t ring0_buffer_bytes;

uint16_t ring0_rx_burst(uint16_t port, struct rte_mbuf **into, uint16_t max);
/* Hands over the first of `buffers`; gives how many. The rest stay the caller's. */
uint16_t ring0_tx_burst(uint16_t port, struct rte_mbuf **buffers, uint16_t count);
/* An empty buffer, or NULL when the pool has none. */
struct rte_mbuf *ring0_alloc(struct rte_mempool *pool);
void ring0_free(struct rte_mbuf *buffer);
struct ring0_frame ring0_look(struct rte_mbuf *buffer);
/* Makes it a buffer of one segment of `len` bytes (at most `room`) without requests to the hardware. */
void ring0_set_len(struct rte_mbuf *buffer, uint16_t len);
int ring0_errno(void);
/* Makes the calling thread one that DPDK knows, which has a cache of buffers, if it is none; gives -1 when there are too many. */
int ring0_know_thread(void);
