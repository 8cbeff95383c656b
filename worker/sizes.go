package worker

import (
	"fmt"
	"math/bits"
)

// sizeName is about how large the request of a receipt is, with its base64: a
// power of two, because that is what proxies are set to.
func sizeName(receiptBytes int64) string {
	request := (receiptBytes + 2) / 3 * 4
	if request < smallest {
		return "up to 8 KiB"
	}
	from := int64(1) << (bits.Len64(uint64(request)) - 1)
	if from >= 1<<20 {
		return fmt.Sprintf("%d to %d MiB", from>>20, from>>19)
	}
	return fmt.Sprintf("%d to %d KiB", from>>10, from>>9)
}

// smallest is below which size all requests are one class.
const smallest = 8 << 10
