package jlora.trainer.cli;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** Files that are no safetensors files though they look like some, by what is wrong with them. */
final class HostileSafetensors {
    private HostileSafetensors() {}

    static Map<String, byte[]> all() {
        Map<String, byte[]> files = new LinkedHashMap<>();
        String good = tensor("F32", "[2]", "[0,8]");
        files.put("under 8 bytes", new byte[7]);
        files.put("header over 100 MB", claiming(100_000_001, "{}"));
        files.put("header of a negative length", claiming(-1, "{}"));
        files.put("header longer than the file", claiming(3, "{}"));
        files.put("empty header", file("", 0));
        files.put("header is a list", file("[]", 0));
        files.put("header is a number", file("1", 0));
        files.put("header is not JSON", file("{nonsense}", 0));
        files.put("text behind the header", file("{}{}", 0));
        files.put(
                "bad UTF-8",
                bytes(("{\"\u00ff\":" + good + "}").getBytes(StandardCharsets.ISO_8859_1), 8));
        files.put(
                "overlapping ranges",
                file("{\"a\":" + good + ",\"b\":" + tensor("F32", "[2]", "[4,12]") + "}", 12));
        files.put(
                "a hole",
                file("{\"a\":" + good + ",\"b\":" + tensor("F32", "[1]", "[12,16]") + "}", 16));
        files.put("trailing data", file("{\"a\":" + good + "}", 9));
        files.put("short data", file("{\"a\":" + good + "}", 7));
        files.put("end before begin", one("F32", "[2]", "[8,0]"));
        files.put("size is not shape times dtype", one("F32", "[3]", "[0,8]"));
        files.put("size overflows", one("F32", "[4611686018427387904,4]", "[0,8]"));
        files.put("negative offset", one("F32", "[2]", "[-8,0]"));
        files.put("fractional offset", one("F32", "[2]", "[0,8.5]"));
        files.put("offset beyond 64 bits", one("F32", "[2]", "[0,18446744073709551624]"));
        files.put("unknown dtype", one("F31", "[2]", "[0,8]"));
        files.put(
                "dtype is a number",
                file("{\"a\":{\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]}}", 8));
        files.put("metadata is not text", file("{\"__metadata__\":{\"a\":1}}", 0));
        files.put("metadata is a list", file("{\"__metadata__\":[]}", 0));
        files.put(
                "deep nesting", file("{\"a\":" + "[".repeat(50_000) + "]".repeat(50_000) + "}", 0));
        files.put("duplicate tensor", file("{\"a\":" + good + ",\"a\":" + good + "}", 8));
        files.put(
                "duplicate field",
                file(
                        "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                        8));
        files.put("leading space", file(" {\"a\":" + good + "}", 8));
        files.put(
                "extra field",
                file(
                        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}",
                        8));
        files.put("missing field", file("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8));
        files.put("NUL in a name", file("{\"a\\u0000\":" + good + "}", 8));
        files.put("dots in a name", file("{\"../a\":" + good + "}", 8));
        files.put("empty name", file("{\"\":" + good + "}", 8));
        return files;
    }

    private static String tensor(String dtype, String shape, String offsets) {
        return "{\"dtype\":\""
                + dtype
                + "\",\"shape\":"
                + shape
                + ",\"data_offsets\":"
                + offsets
                + "}";
    }

    private static byte[] one(String dtype, String shape, String offsets) {
        return file("{\"a\":" + tensor(dtype, shape, offsets) + "}", 8);
    }

    private static byte[] file(String header, int data) {
        return bytes(header.getBytes(StandardCharsets.UTF_8), data);
    }

    private static byte[] bytes(byte[] header, int data) {
        return claiming(header.length, header, data);
    }

    private static byte[] claiming(long length, String header) {
        return claiming(length, header.getBytes(StandardCharsets.UTF_8), 0);
    }

    private static byte[] claiming(long length, byte[] header, int data) {
        return ByteBuffer.allocate(8 + header.length + data)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(length)
                .put(header)
                .array();
    }
}
