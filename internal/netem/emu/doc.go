// Package emu emulates network paths: it runs the model of package netem for real,
// between network namespaces of Linux, for programs that others wrote. It takes
// root.
//
// A [Namespace] has a loopback interface and nothing else. [Join] connects two by
// TUN devices, with a goroutine for each direction that takes packets from one device
// and writes them to the other when the model has them arrive. Nothing of this has
// a name outside the process, and the kernel removes all of it when that ends.
//
// Since the kernel gives a TUN device whole packets, with checksums and after
// segmentation, programs see a path as of a network card without offloads. The
// precision is that of the machine's threads: some 0.1 ms when it has time.
package emu
