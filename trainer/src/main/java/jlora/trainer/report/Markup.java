package jlora.trainer.report;

import java.util.Locale;

/**
 * Builds XHTML and SVG text. Content goes through {@link #text} and attributes, which escape it;
 * only markup is raw.
 */
final class Markup {
    private final StringBuilder out = new StringBuilder();

    /** Opens an element; attributes are name and value in turn. */
    Markup open(String element, Object... attributes) {
        tag(element, attributes);
        out.append('>');
        return this;
    }

    Markup close(String element) {
        out.append("</").append(element).append(">\n");
        return this;
    }

    /** An element without content. */
    Markup empty(String element, Object... attributes) {
        tag(element, attributes);
        out.append("/>\n");
        return this;
    }

    /** An element with text alone. */
    Markup element(String element, String content, Object... attributes) {
        return open(element, attributes).text(content).close(element);
    }

    Markup text(String content) {
        escape(content);
        return this;
    }

    /** Markup that is well formed already. */
    Markup raw(String markup) {
        out.append(markup);
        return this;
    }

    private void tag(String element, Object... attributes) {
        out.append('<').append(element);
        for (int i = 0; i < attributes.length; i += 2) {
            out.append(' ').append(attributes[i]).append("=\"");
            escape(
                    attributes[i + 1] instanceof Double d
                            ? number(d)
                            : attributes[i + 1].toString());
            out.append('"');
        }
    }

    /** A coordinate: two decimals are finer than any screen. */
    static String number(double value) {
        String text = String.format(Locale.ROOT, "%.2f", value);
        return text.endsWith(".00") ? text.substring(0, text.length() - 3) : text;
    }

    private void escape(String content) {
        content.codePoints()
                .forEach(
                        c -> {
                            switch (c) {
                                case '&' -> out.append("&amp;");
                                case '<' -> out.append("&lt;");
                                case '>' -> out.append("&gt;");
                                case '"' -> out.append("&quot;");
                                case '\'' -> out.append("&#39;");
                                default -> out.appendCodePoint(allowed(c) ? c : 0xfffd);
                            }
                        });
    }

    /** The characters of XML 1.0, which are also what HTML allows but for a few controls. */
    private static boolean allowed(int c) {
        return c == '\n'
                || c == '\t'
                || c >= 0x20 && c < 0x7f
                || c >= 0xa0 && c < 0xd800
                || c >= 0xe000 && c < 0xfffe
                || c >= 0x10000 && (c & 0xfffe) != 0xfffe;
    }

    @Override
    public String toString() {
        return out.toString();
    }
}
