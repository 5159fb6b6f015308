import { Component, type ComponentType, type FunctionComponent, h } from 'preact'

/** A component that is drawn again only when `same` says that its properties differ. */
export function memo<P extends object>(
  View: FunctionComponent<P>,
  same: (a: Readonly<P>, b: Readonly<P>) => boolean,
): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !same(this.props, next)
    }

    override render() {
      return h(View as ComponentType<P>, this.props as P)
    }
  }
}
