//go:build !linux

package faults

func mountSmallDisk(string, int) (func() error, error) {
	return nil, &SkipError{"needs Linux, to mount a small disk"}
}
