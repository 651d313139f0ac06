#include "shim.h"

const uint16_t ring0_buffer_bytes = RTE_MBUF_DEFAULT_BUF_SIZE;

uint16_t ring0_rx_burst(uint16_t port, struct rte_mbuf **into, uint16_t max)
{
	return rte_eth_rx_burst(port, 0, into, max);
}

uint16_t ring0_tx_burst(uint16_t port, struct rte_mbuf **buffers, uint16_t count)
{
	return rte_eth_tx_burst(port, 0, buffers, count);
}

struct rte_mbuf *ring0_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void ring0_free(struct rte_mbuf *buffer)
{
	rte_pktmbuf_free(buffer);
}

struct ring0_frame ring0_look(struct rte_mbuf *buffer)
{
	struct ring0_frame frame = {
		.data = rte_pktmbuf_mtod(buffer, uint8_t *),
		.len = buffer->data_len,
		.room = buffer->buf_len - buffer->data_off,
		.segments = buffer->nb_segs,
		.references = rte_mbuf_refcnt_read(buffer),
	};
	return frame;
}

void ring0_set_len(struct rte_mbuf *buffer, uint16_t len)
{
	buffer->data_len = len;
	buffer->pkt_len = len;
	/* What the receiver noted (checksums, hashes) would be requests on the way out; where the data lies stays true. */
	buffer->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
}

int ring0_errno(void)
{
	return rte_errno;
}

int ring0_know_thread(void)
{
	return rte_lcore_id() == LCORE_ID_ANY ? rte_thread_register() : 0;
}
