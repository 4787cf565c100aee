package jlora.trainer.launch;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.BitSet;

/**
 * Carries a few bytes from rank 0 to all others, over TCP: rank 0 listens where MASTER_ADDR and
 * MASTER_PORT say, each of the others says who it is, in four numbers, and gets the bytes. Anybody
 * may connect: what does not begin as it should is hung up on, and nothing is parsed but numbers.
 */
public final class Rendezvous {
    private static final long MAGIC = 0x6a6c6f7261207231L; // "jlora r1"
    private static final int WELCOME = 0;
    private static final int OTHER_SIZE = 1;
    private static final int TWICE = 2;

    /** A rank says who it is at once; whoever does not is no rank. */
    private static final int GREETING_MILLIS = 2_000;

    private static final int RETRY_MILLIS = 50;

    private final Ranks ranks;
    private final long deadline;
    private final Duration timeout;

    /**
     * @param timeout of the whole meeting; zero waits for ever
     */
    public Rendezvous(Ranks ranks, Duration timeout) {
        this.ranks = ranks;
        this.timeout = timeout;
        this.deadline = System.nanoTime() + timeout.toNanos();
    }

    /** Rank 0 gives the bytes to all others, and returns when each has them. */
    public void give(byte[] bytes) {
        BitSet met = new BitSet();
        met.set(0);
        try (ServerSocket server = new ServerSocket()) {
            server.setReuseAddress(true);
            server.bind(new InetSocketAddress(ranks.masterPort()));
            while (met.cardinality() < ranks.worldSize()) {
                server.setSoTimeout(leftMillis());
                try (Socket socket = server.accept()) {
                    welcome(socket, bytes, met);
                } catch (SocketTimeoutException e) {
                    throw timedOut("ranks that have not come: " + missing(met), e);
                }
            }
        } catch (BindException e) {
            throw JloraException.usage(
                    "rank 0 cannot listen on port "
                            + ranks.masterPort()
                            + " ("
                            + e.getMessage()
                            + "); set MASTER_PORT to one that is free on its machine.");
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.HANG, "the workers could not meet (" + e.getMessage() + ").", e);
        }
    }

    private void welcome(Socket socket, byte[] bytes, BitSet met) {
        try {
            socket.setSoTimeout(GREETING_MILLIS);
            DataInputStream in = new DataInputStream(socket.getInputStream());
            if (in.readLong() != MAGIC) {
                return;
            }
            int size = in.readInt();
            int rank = in.readInt();
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            if (size != ranks.worldSize() || rank < 1 || rank >= size) {
                out.writeInt(OTHER_SIZE);
            } else if (met.get(rank)) {
                out.writeInt(TWICE);
            } else {
                out.writeInt(WELCOME);
                out.writeInt(bytes.length);
                out.write(bytes);
                out.flush();
                // Only one that has them all counts.
                if (in.readInt() == rank) {
                    met.set(rank);
                }
            }
        } catch (IOException e) {
            // A stranger, or a rank that will come again; who never comes is named at the end.
            return;
        }
    }

    private String missing(BitSet met) {
        BitSet absent = new BitSet();
        absent.set(0, ranks.worldSize());
        absent.andNot(met);
        return absent.toString();
    }

    /**
     * Any other rank gets the bytes of rank 0.
     *
     * @param most that there may be
     */
    public byte[] get(int most) {
        String address =
                ranks.masterAddress()
                        .orElseThrow(
                                () ->
                                        JloraException.usage(
                                                "MASTER_ADDR is not set in the environment, and the"
                                                        + " workers have to meet; set it to the"
                                                        + " name of rank 0's machine."));
        while (true) {
            try (Socket socket = new Socket()) {
                // A name may not be known before its machine is up: looked up anew each time.
                socket.connect(
                        new InetSocketAddress(address, ranks.masterPort()),
                        Math.min(GREETING_MILLIS, leftMillis()));
                return greet(socket, most);
            } catch (IOException e) {
                pause(address, e);
            }
        }
    }

    private byte[] greet(Socket socket, int most) throws IOException {
        socket.setSoTimeout(leftMillis());
        DataOutputStream out = new DataOutputStream(socket.getOutputStream());
        out.writeLong(MAGIC);
        out.writeInt(ranks.worldSize());
        out.writeInt(ranks.rank());
        out.flush();
        DataInputStream in = new DataInputStream(socket.getInputStream());
        int answer = in.readInt();
        if (answer == OTHER_SIZE || answer == TWICE) {
            throw JloraException.usage(
                    "rank 0 at "
                            + ranks.masterAddress().orElseThrow()
                            + ":"
                            + ranks.masterPort()
                            + (answer == TWICE
                                    ? " has met a rank " + ranks.rank() + " already"
                                    : " is not of a run of " + ranks.worldSize() + " workers")
                            + "; give each run a MASTER_PORT, and each worker a rank, of its own.");
        }
        int length = in.readInt();
        if (answer != WELCOME || length < 0 || length > most) {
            throw new IOException("what listens there is not jlora");
        }
        byte[] bytes = in.readNBytes(length);
        if (bytes.length != length) {
            throw new IOException("rank 0 hung up");
        }
        out.writeInt(ranks.rank());
        out.flush();
        return bytes;
    }

    private void pause(String address, IOException why) {
        if (!timeout.isZero() && System.nanoTime() - deadline > 0) {
            throw timedOut(
                    "rank 0 at " + address + ":" + ranks.masterPort() + ", " + why.getMessage(),
                    why);
        }
        try {
            Thread.sleep(RETRY_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while the workers met", e);
        }
    }

    /** At least one: zero would mean for ever, and does where that is asked for. */
    private int leftMillis() {
        if (timeout.isZero()) {
            return 0;
        }
        long left = (deadline - System.nanoTime()) / 1_000_000;
        return Math.clamp(left, 1, Integer.MAX_VALUE);
    }

    private JloraException timedOut(String who, Throwable cause) {
        return new JloraException(
                ExitCode.HANG,
                "the workers did not all meet within "
                        + timeout.toMillis() / 1000.0
                        + " s ("
                        + who
                        + "); see that all of them were started, that MASTER_ADDR and MASTER_PORT"
                        + " lead to rank 0, and that nothing blocks the port.",
                cause);
    }
}
